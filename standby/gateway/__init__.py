"""Takes alerts of Azure and passes them on as Prefect events; it decides nothing."""
