"""MTFL: five points on faces of LFW, of the web, and of AFLW for testing."""
