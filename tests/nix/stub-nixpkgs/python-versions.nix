# The Python packages that hive asks for by version, in each release of nixpkgs. A package that is not here has version 0.
#
# 26.05: read in a fork of nixpkgs as it was in the weeks of that release (one commit, all files); jinja2, pygments and
# webauthn were not: they are the newest on PyPI of that day.
# 26.11: read in nixpkgs itself, those that are named in its block; the others could not be read and are as in 26.05.
# 25.05 and 25.11: could not be read. These are the newest on PyPI on the day of the release, so nixpkgs has at most these.
let
  early2025 = {
    aiosqlite = "0.21.0";
    dbus-fast = "2.44.1";
    gitpython = "3.1.44";
    h11 = "0.16.0";
    jinja2 = "3.1.6";
    litestar = "2.16.0";
    mcp = "1.9.1";
    prometheus-client = "0.22.0";
    pydantic = "2.11.5";
    pygments = "2.19.1";
    sse-starlette = "2.3.5";
    structlog = "25.3.0";
    typer = "0.15.4";
    uvicorn = "0.34.2";
    watchfiles = "1.0.5";
    webauthn = "2.5.2";
  };
  late2025 = early2025 // {
    dbus-fast = "3.1.2";
    gitpython = "3.1.45";
    litestar = "2.18.0";
    mcp = "1.22.0";
    prometheus-client = "0.23.1";
    pydantic = "2.12.5";
    pygments = "2.19.2";
    sse-starlette = "3.0.3";
    structlog = "25.5.0";
    typer = "0.20.0";
    uvicorn = "0.38.0";
    watchfiles = "1.1.1";
    webauthn = "2.7.0";
  };
  mid2026 = {
    aiosqlite = "0.21.0";
    annotated-doc = "0.0.4";
    dbus-fast = "5.0.22";
    gitpython = "3.1.50";
    h11 = "0.16.0";
    jinja2 = "3.1.6";
    httpcore2 = "2.4.0";
    httpx2 = "2.4.0";
    litestar = "2.21.1";
    mcp = "1.27.1";
    prometheus-client = "0.25.0";
    pydantic = "2.13.4";
    pygments = "2.20.0";
    sse-starlette = "3.2.0";
    structlog = "26.1.0";
    typer = "0.25.1";
    uvicorn = "0.46.0";
    watchfiles = "1.1.1";
    webauthn = "2.7.1";
  };
in
{
  "25.05" = early2025;
  "25.11" = late2025;
  "26.05" = mid2026;
  "26.11" = mid2026 // {
    typer = "0.27.2";
    # 2.x beside 1.27.1; the file is there, the name of its attribute could not be read
    mcp_2 = "2.2.0";
  };
}
