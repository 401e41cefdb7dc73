"""`/mcp`: the operations that are tools, over streamable HTTP. Only `engine` imports the SDK, at the first request."""
