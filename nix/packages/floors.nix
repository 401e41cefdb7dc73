# The oldest versions that hive works with, as in pyproject.toml.
{
  pydantic = "2.12.2";
  watchfiles = "1.0";
  aiosqlite = "0.22";
  litestar = "2.19";
  uvicorn = "0.34";
  h11 = "0.16";
  gitpython = "3.2.1";
  mcp = "2.1";
  typer = "0.29";
  dbus-fast = "4.0";
  prometheus-client = "0.24";
  structlog = "26.1";
  jinja2 = "3.1.6";
  pygments = "2.19";
  webauthn = "2.7";
}
