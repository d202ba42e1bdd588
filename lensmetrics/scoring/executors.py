"""Where the work of a run is done: the one place that knows Dask."""


def is_lost(error: Exception) -> bool:
    """Whether Dask took a result apart as if it were an error: the worker that held it died just then."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = None if trace is None else trace.tb_frame.f_globals.get("__name__")
    return where == "distributed.cfexecutor" and "unpack" in str(error)
