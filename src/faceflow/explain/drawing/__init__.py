"""Pictures of an explanation: panels, heat maps, the flow picture."""
