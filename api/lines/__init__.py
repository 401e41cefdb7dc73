"""The line protocol: one JSON object per line, exactly the wire types."""
