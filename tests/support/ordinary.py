"""The start of a command line that becomes an ordinary user."""

AS_USER = (
    *("setpriv", "--reuid", "30000", "--regid", "30000", "--clear-groups"),
    *("--bounding-set=-all", "--inh-caps=-all"),
)
