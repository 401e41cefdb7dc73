# The Python packages of hive: pythonPackages -> the ones to use.
# A package of nixpkgs that is new enough is taken as it is; for the others hive brings its own, in the versions of
# requirements.lock, which the tests run with. The floors are those of pyproject.toml; tests compare all of this.
{ lib, fetchPypi }:
pythonPackages:
let
  floors = import ./floors.nix;
  # what hive's own packages below ask for
  indirect = {
    annotated-doc = "0.0.2";
    httpx2 = "2.10.0";
    sse-starlette = "3.0.0";
  };
  oldest = floors // indirect;

  wheel =
    {
      pname,
      version,
      hash,
      dependencies ? [ ],
      ...
    }@given:
    pythonPackages.buildPythonPackage (
      removeAttrs given [ "hash" ]
      // {
        inherit dependencies;
        format = "wheel";
        src = fetchPypi {
          inherit pname version hash;
          format = "wheel";
          dist = "py3";
          python = "py3";
        };
      }
    );

  own = {
    aiosqlite = wheel {
      pname = "aiosqlite";
      version = "0.22.1";
      hash = "sha256-IcAC6xOCP610AZbFounY5i9iQ72efkofh/teROy0/Os=";
    };
    annotated-doc = wheel {
      pname = "annotated_doc";
      version = "0.0.7";
      hash = "sha256-a8Mbu+xt+q7cFnbbwR29qW/iKitcQA6eutET/sRKncY=";
    };
    # without its Cython part: hive hears a few signals a second
    dbus-fast = pythonPackages.buildPythonPackage rec {
      pname = "dbus_fast";
      version = "5.2.0";
      pyproject = true;
      src = fetchPypi {
        inherit pname version;
        hash = "sha256-pKXd3ASxreXrdlDXkeL2+3wTNFlVk0c5FOeKJSbs3do=";
      };
      build-system = [
        pythonPackages.cython
        pythonPackages.poetry-core
        pythonPackages.setuptools
        pythonPackages.wheel
      ];
      env.SKIP_CYTHON = "1";
      doCheck = false;
    };
    gitpython = wheel {
      pname = "gitpython";
      version = "3.2.1";
      hash = "sha256-1msIMqqHVcGoSJKTcoLfC++xbJflpkruvWi+nF4yP1M=";
      dependencies = [ pythonPackages.gitdb ];
    };
    httpcore2 = wheel {
      pname = "httpcore2";
      version = "2.16.2";
      hash = "sha256-FgUa4qQvd2AHVD8y3pNJoxeyPSy7ThRWtLrA6IuHQZo=";
      dependencies = [
        (pick "h11")
        pythonPackages.truststore
      ];
    };
    httpx2 = wheel {
      pname = "httpx2";
      version = "2.16.2";
      hash = "sha256-8FwTqt5MRdvxyQYGR6EFjwrK1iOY+tludBJp7bM9RvU=";
      dependencies = [
        pythonPackages.anyio
        pythonPackages.idna
        pythonPackages.truststore
        pythonPackages.typing-extensions
        own.httpcore2
      ];
      # it asks for a newer idna than nixpkgs has; hive serves MCP and is no client, and two in one environment clash
      dontCheckRuntimeDeps = true;
    };
    litestar = wheel {
      pname = "litestar";
      version = "2.25.0";
      hash = "sha256-/xZHC2qjAx6jIQu7R0sAskxjbd/o4O49Ccha/zBYqT8=";
      dependencies = [
        pythonPackages.anyio
        pythonPackages.click
        pythonPackages.httpx
        pythonPackages.litestar-htmx
        pythonPackages.msgspec
        pythonPackages.multidict
        pythonPackages.multipart
        pythonPackages.polyfactory
        pythonPackages.pyyaml
        pythonPackages.rich
        pythonPackages.rich-click
        pythonPackages.sniffio
        pythonPackages.typing-extensions
      ];
    };
    mcp = wheel {
      pname = "mcp";
      version = "2.3.0";
      hash = "sha256-3QxEwInRZFPorjGjh3oAVNeiMUyqqB9eBUG5sXNLI3c=";
      dependencies = [
        pythonPackages.anyio
        pythonPackages.cryptography
        pythonPackages.jsonschema
        pythonPackages.opentelemetry-api
        pythonPackages.pyjwt
        pythonPackages.python-multipart
        pythonPackages.starlette
        pythonPackages.typing-extensions
        pythonPackages.typing-inspection
        own.mcp-types # of exactly this version
      ]
      ++ map pick [
        "httpx2"
        "pydantic"
        "sse-starlette"
        "uvicorn"
      ];
    };
    mcp-types = wheel {
      pname = "mcp_types";
      version = "2.3.0";
      hash = "sha256-lo79va7fqwatrkDTeKNDlfEJDFkh1L48nN4oOq922R0=";
      dependencies = [
        (pick "pydantic")
        pythonPackages.typing-extensions
      ];
    };
    prometheus-client = wheel {
      pname = "prometheus_client";
      version = "0.26.0";
      hash = "sha256-+pPQZzeqArrNBXlHaFCLuX0vvuKMs7ygTqrpLwypU9Y=";
    };
    structlog = wheel {
      pname = "structlog";
      version = "26.1.0";
      hash = "sha256-4IGibWw3Pm0gHsok7t4m2P+rB/iPR3gi5nkYNCjT2R4=";
    };
    typer = wheel {
      pname = "typer";
      version = "0.29.2";
      hash = "sha256-8wcx+Mp1g2i4NrNxSHLljjlc74/K/5GMhTsZae1SdOc=";
      dependencies = [
        pythonPackages.rich
        pythonPackages.shellingham
      ]
      ++ map pick [
        "annotated-doc"
        "pydantic"
      ];
    };
  };

  # nixpkgs keeps an older major version under the plain name: 1.x is `mcp`, 2.x is `mcp_2`
  otherNames.mcp = [ "mcp_2" ];

  pick =
    name:
    let
      there = builtins.filter (package: package != null) (
        map (key: pythonPackages.${key} or null) ([ name ] ++ otherNames.${name} or [ ])
      );
      enough = builtins.filter (
        package: lib.versionAtLeast (package.version or "0") oldest.${name}
      ) there;
    in
    if enough != [ ] then
      builtins.head enough
    else
      own.${name} or (throw (
        "hive needs ${name} ${oldest.${name}} or later, and this nixpkgs has "
        + (if there == [ ] then "none" else (builtins.head there).version or "one of unknown version")
        + ": follow nixpkgs 26.05 or later, or leave hive its own (no `inputs.hive.inputs.nixpkgs.follows`) and set"
        + " services.hive.package and hive.agent.package to the packages of its flake"
      ));
in
builtins.mapAttrs (name: _: pick name) floors
