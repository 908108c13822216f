"""Recovery from an outage: snapshots, readiness, watch, decision, failover, failback, drill, audit."""
