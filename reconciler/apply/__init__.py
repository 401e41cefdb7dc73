"""Do one step of a plan. The only room that changes containers and calls builders."""
