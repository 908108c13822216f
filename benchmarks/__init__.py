"""What orchestration costs, as ratios: seconds of one machine say nothing about another."""
