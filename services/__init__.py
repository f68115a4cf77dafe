"""The services. They know each other only through the events in `shared.events`, and never import each other."""
