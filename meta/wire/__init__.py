"""The wire types of the line protocol, exactly as the seeds have them."""
