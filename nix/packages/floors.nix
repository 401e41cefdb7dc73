# The oldest versions that hive works with, as in pyproject.toml.
{
  pydantic = "2.12";
  watchfiles = "1.1";
  aiosqlite = "0.22";
  litestar = "2.20";
  uvicorn = "0.35";
  gitpython = "3.2.1";
  mcp = "2.1";
  typer = "0.29";
  dbus-fast = "5.2";
  prometheus-client = "0.22";
  structlog = "25.1";
}
