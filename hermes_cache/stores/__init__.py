"""Where sessions come from: the homes of agents, which are only read."""
