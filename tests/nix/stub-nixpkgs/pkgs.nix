# Packages that are there in name: each builds, without any other, to bin/<name>, a program that only says its name.
{
  lib,
  system,
  release ? "26.05",
}:
let
  package =
    name: attrs:
    let
      drv = derivation (
        {
          inherit name system;
          builder = "/bin/sh";
          args = [
            "-c"
            ''
              PATH=/run/current-system/sw/bin:/usr/bin:/bin
              mkdir -p $out/bin
              printf '#!/bin/sh\necho %s\n' ${name} > $out/bin/${name}
              chmod +x $out/bin/${name}
            ''
          ];
        }
        // attrs
      );
    in
    drv
    // {
      pname = name;
      version = "0";
      meta.mainProgram = name;
      overrideAttrs = _: drv;
    };

  # hive's harness really runs: its files, with the Python and the packages that a host of the tests has in /usr.
  host = "/usr/lib/hive-host";
  harness = src: {
    inherit src;
    args = [
      "-c"
      ''
        PATH=/run/current-system/sw/bin:/usr/bin:/bin
        mkdir -p $out/bin $out/lib
        cp -r $src/meta $src/harness $out/lib
        chmod -R u+w $out/lib
        [ ! -x ${host}/python3 ] ||
          ${host}/python3 -m compileall -q --invalidation-mode unchecked-hash $out/lib
        printf '#!/bin/sh\nexport PYTHONPATH=%s PYTHONDONTWRITEBYTECODE=1\nexec %s -P -m harness.cli "$@"\n' \
          $out/lib:${host}/python ${host}/python3 > $out/bin/hive-harness
        chmod +x $out/bin/hive-harness
      ''
    ];
  };

  # What was asked of buildPythonApplication stays visible in `asked`, for tests.
  pythonPackage =
    asked:
    package (asked.pname or asked.name) (
      if asked.pname or "" == "hive-harness" then
        harness asked.src
      else
        lib.optionalAttrs (asked ? src) { inherit (asked) src; }
    )
    // {
      inherit asked;
      pname = asked.pname or asked.name;
      version = asked.version or "0";
      meta = asked.meta or { };
      passthru = asked.passthru or { };
    };

  versions = (import ./python-versions.nix).${release};

  pythonPackages =
    lib.genAttrs [
      "anyio"
      "click"
      "editables"
      "cryptography"
      "gitdb"
      "hatchling"
      "httpx"
      "idna"
      "jsonschema"
      "litestar-htmx"
      "msgspec"
      "multidict"
      "multipart"
      "cython"
      "poetry-core"
      "polyfactory"
      "pyyaml"
      "rich"
      "rich-click"
      "shellingham"
      "sniffio"
      "truststore"
      "wheel"
      "hypothesis"
      "mypy"
      "opentelemetry-api"
      "pip"
      "pyjwt"
      "python-multipart"
      "pytest"
      "pytest-asyncio"
      "pytest-timeout"
      "pytest-xdist"
      "ruff"
      "setuptools"
      "starlette"
      "typing-extensions"
      "typing-inspection"
    ] (name: package name { })
    // builtins.mapAttrs (
      name: version:
      package name { }
      // {
        pname = builtins.replaceStrings [ "_2" ] [ "" ] name;
        inherit version;
      }
    ) versions
    // {
      buildPythonApplication = pythonPackage;
      buildPythonPackage = pythonPackage;
      python = python // {
        inherit pythonPackages;
      };
    };

  python = package "python3" { } // {
    pkgs = pythonPackages;
    pythonVersion = "3.12";
    sitePackages = "lib/python3.12/site-packages";
    withPackages =
      choose:
      let
        chosen = choose pythonPackages;
      in
      package "python3-env" { inherit chosen; } // { inherit chosen; };
    override = _: python;
  };

  text =
    {
      name,
      executable ? false,
      destination ? "",
      content,
    }:
    derivation {
      inherit name system content;
      passAsFile = [ "content" ];
      builder = "/bin/sh";
      args = [
        "-c"
        ''
          PATH=/run/current-system/sw/bin:/usr/bin:/bin
          target=$out${destination}
          mkdir -p "$(dirname "$target")"
          cat "$contentPath" > "$target"
          ${lib.optionalString executable "chmod +x \"$target\""}
        ''
      ];
    }
    // {
      inherit content; # tests read it without building
    };
in
lib.genAttrs [
  "bash"
  "bubblewrap"
  "claude-agent-acp"
  "claude-code"
  "codex-acp"
  "coreutils"
  "curl"
  "fd"
  "findutils"
  "gemini-cli"
  "git"
  "gnumake"
  "hello"
  "iproute2"
  "jq"
  "less"
  "nix"
  "nixfmt-tree"
  "nixos-container"
  "nodejs"
  "opencode"
  "openssh"
  "procps"
  "ripgrep"
  "shadow"
  "sqlite"
  "systemd"
  "util-linux"
  "vim"
] (name: package name { })
// {
  inherit lib system;
  path = ./.;
  nixos =
    module:
    import ./nixos
      {
        inherit lib;
        pkgsFor = system: import ./pkgs.nix { inherit lib system; };
      }
      {
        inherit system;
        modules = [ module ];
      };
  stdenv.hostPlatform = {
    inherit system;
    isLinux = true;
  };
  fetchurl = asked: package (baseNameOf asked.url) { } // { inherit asked; };
  fetchPypi = asked: package "${asked.pname}-${asked.version}" { };
  python3 = python;
  python312 = python;
  python3Packages = pythonPackages;
  python312Packages = pythonPackages;
  callPackage =
    path: overrides:
    let
      function = if lib.isFunction path then path else import path;
      pkgs = import ./pkgs.nix { inherit lib system release; };
    in
    function (builtins.intersectAttrs (builtins.functionArgs function) (pkgs // { inherit pkgs; }) // overrides);
  writeText = name: content: text { inherit name content; };
  writeTextDir =
    path: content:
    text {
      name = baseNameOf path;
      destination = "/${path}";
      inherit content;
    };
  writeShellScript =
    name: content:
    text {
      inherit name;
      executable = true;
      content = "#!/bin/sh\n${content}";
    };
  writeShellScriptBin =
    name: content:
    text {
      inherit name;
      executable = true;
      destination = "/bin/${name}";
      content = "#!/bin/sh\n${content}";
    };
  writeShellApplication =
    {
      name,
      text,
      runtimeInputs ? [ ],
      ...
    }:
    package name { inherit text runtimeInputs; } // { inherit text runtimeInputs; };
  runCommand =
    name: attrs: script:
    package name (removeAttrs attrs [ "meta" "passthru" ] // { inherit script; })
    // attrs.passthru or { }
    // {
      meta = attrs.meta or { };
      inherit script;
    };
  runtimeShell = "/bin/sh";
  closureInfo = attrs: package "closure-info" { inherit (attrs) rootPaths; } // { inherit (attrs) rootPaths; };
  mkShell = attrs: package "shell" { } // attrs;
  symlinkJoin = attrs: package attrs.name { inherit (attrs) paths; } // { inherit (attrs) paths; };
  formats.json = _: {
    type = lib.types.anything;
    generate = name: value: text { inherit name; content = builtins.toJSON value; };
  };
  testers.testVersion = { package }: {
    inherit package;
    type = "derivation";
    name = "${package.name}-test-version";
  };
  testers.runNixOSTest = module: {
    inherit module;
    type = "derivation";
    name = "vm-test-${(if lib.isFunction module then module { inherit lib; } else module).name or "test"}";
  };
}
