"""To come."""
class Refused(Exception):
    """To come."""
def check(application):
    """To come."""
