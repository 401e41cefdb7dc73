# The Python packages that hive needs newer than nixpkgs may have them: pythonPackages -> the ones to use.
# A package that is new enough is taken as it is. The floors are those of pyproject.toml; a test compares them.
{ lib, fetchPypi }:
pythonPackages:
let
  floors = import ./floors.nix;
  enough = name: package: lib.versionAtLeast (package.version or "0") floors.${name};
  wheel =
    {
      pname,
      version,
      hash,
      dependencies,
    }:
    pythonPackages.buildPythonPackage {
      inherit pname version dependencies;
      format = "wheel";
      src = fetchPypi {
        inherit pname version hash;
        format = "wheel";
        dist = "py3";
        python = "py3";
      };
    };

  own = {
    # 3.2.1 is the first without known advisories
    gitpython = wheel {
      pname = "gitpython";
      version = "3.2.1";
      hash = "sha256-1msIMqqHVcGoSJKTcoLfC++xbJflpkruvWi+nF4yP1M=";
      dependencies = [ pythonPackages.gitdb ];
    };
    # nixpkgs keeps 1.x under `mcp`; 2.x has a name of its own where it is there
    mcp =
      pythonPackages.mcp_2 or (wheel {
        pname = "mcp";
        version = "2.3.0";
        hash = "sha256-3QxEwInRZFPorjGjh3oAVNeiMUyqqB9eBUG5sXNLI3c=";
        dependencies = [
          pythonPackages.anyio
          pythonPackages.httpx2
          pythonPackages.jsonschema
          (pythonPackages.mcp-types or own.mcp-types)
          pythonPackages.opentelemetry-api
          pythonPackages.pydantic
          pythonPackages.pyjwt
          pythonPackages.cryptography
          pythonPackages.python-multipart
          pythonPackages.sse-starlette
          pythonPackages.starlette
          pythonPackages.typing-extensions
          pythonPackages.typing-inspection
          pythonPackages.uvicorn
        ];
      });
    mcp-types = wheel {
      pname = "mcp_types";
      version = "2.3.0";
      hash = "sha256-lo79va7fqwatrkDTeKNDlfEJDFkh1L48nN4oOq922R0=";
      dependencies = [
        pythonPackages.pydantic
        pythonPackages.typing-extensions
      ];
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
  };

  choose =
    name: _:
    let
      found = pythonPackages.${name} or { version = "0"; };
    in
    if enough name found then
      found
    else
      own.${name}
        or (throw "hive needs ${name} ${floors.${name}} or later, and this nixpkgs has ${found.version}: follow a newer nixpkgs, or give an overlay for ${name}");
in
builtins.mapAttrs choose floors
