"""Whether a plan is failed over: a pure function of what was seen, what is configured and what was done."""
