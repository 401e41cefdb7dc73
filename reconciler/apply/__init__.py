"""Do one step of a plan. Only this room changes containers and builds. The observer reads from backend and builder."""
