"""Do one step of a plan. Only this room changes containers and calls builders."""
