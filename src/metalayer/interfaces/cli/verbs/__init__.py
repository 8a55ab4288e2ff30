"""The verbs, one module each. A module's `command` is the click command; it is imported when the verb is asked for."""
