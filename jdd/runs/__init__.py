"""Resumable runs in a folder: the loop, the lock, progress, interrupts and pictures.

Nothing is imported here, because each module needs another library: matplotlib (``draw``), JAX (``loop``),
rich (``progress``), filelock (``lock``), platformdirs (``compilation_cache``).
"""
