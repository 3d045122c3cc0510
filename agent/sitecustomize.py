# SPDX-License-Identifier: BSD-2-Clause
"""Lets PYTHONPATH alone bring the agent into a program, then gets out of the way.

A .pth file works only in a site folder, and a virtual environment ignores the system's. This file
acts on PYTHONMANHOLE and then becomes the next `sitecustomize` on sys.path, as if it did not exist.
"""
import sys


def _activate():
    import os

    if "PYTHONMANHOLE" not in os.environ:
        return
    try:
        from manhole import _environment
    except Exception as error:
        try:
            sys.stderr.write("Failed to manhole.install(...): %s: %s\n" % (type(error).__name__, error))
        except Exception:
            pass
    else:
        _environment.activate()


def _chain():
    import os
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import PathFinder

    here = os.path.dirname(os.path.realpath(__file__))
    folders = [os.path.realpath(folder) for folder in sys.path]
    # Only what comes after this folder: another copy of this file must not find this one again.
    start = folders.index(here) + 1 if here in folders else 0
    rest = [path for path, folder in zip(sys.path[start:], folders[start:]) if folder != here]
    spec = PathFinder.find_spec("sitecustomize", rest)
    if spec is None or spec.loader is None:
        raise ImportError("No module named 'sitecustomize'", name="sitecustomize")
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_activate()
_chain()
