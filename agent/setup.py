# SPDX-License-Identifier: BSD-2-Clause
"""Builds the agent alone, for pip. The files are those of the project's own build."""
import os
import platform
import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

HERE = os.path.dirname(os.path.abspath(__file__))
os.chdir(HERE)

# The stable ABI is CPython's, and free-threaded builds have none.
if platform.python_implementation() != "CPython":
    sys.exit("manholed-agent is for CPython, not for %s" % platform.python_implementation())
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit("manholed-agent is not for free-threaded builds of CPython: they lack the stable ABI and the GIL")

SOURCES = sorted(name for name in os.listdir(".") if name.endswith(".c")) + ["../lib/frame.c"]


class BuildWithPth(build_py):
    """A .pth file acts only at the top of a site folder."""

    def run(self):
        super().run()
        self.copy_file("manhole.pth", os.path.join(self.build_lib, "manhole.pth"))


setup(
    packages=["manhole"],
    package_data={"manhole": ["*.pyi", "py.typed"]},
    ext_modules=[
        Extension(
            "manhole._agent",
            sources=SOURCES,
            include_dirs=[os.path.dirname(HERE)],
            define_macros=[
                ("_GNU_SOURCE", "1"),
                ("Py_LIMITED_API", "0x03080000"),
                ("PACKAGE_VERSION", '"0.1.0"'),
            ],
            undef_macros=["NDEBUG"],
            extra_compile_args=["-std=gnu17", "-fvisibility=hidden"],
            extra_link_args=["-pthread", "-Wl,-z,now"],
            py_limited_api=True,
        )
    ],
    cmdclass={"build_py": BuildWithPth},
    options={"bdist_wheel": {"py_limited_api": "cp38"}},
)
