"""Drives CMake: CMakeLists.txt is the one description of what is built."""

import os
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class CMakeBuild(build_ext):
    def run(self) -> None:
        source = Path(__file__).resolve().parent
        in_place = self.inplace or self.editable_mode
        target = source if in_place else Path(self.build_lib).resolve()
        build = source / "build" / "cmake"
        build.mkdir(parents=True, exist_ok=True)
        options = [
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DCMAKE_INSTALL_PREFIX={target}",
            f"-DHASHGCN_CUDA={os.environ.get('HASHGCN_CUDA', 'auto')}",
            f"-DHASHGCN_WERROR={os.environ.get('HASHGCN_WERROR', 'OFF')}",
        ]
        jobs = ["-j", os.environ["MAX_JOBS"]] if "MAX_JOBS" in os.environ else []
        subprocess.run(["cmake", "-G", "Ninja", "-S", source, "-B", build, *options], check=True)
        subprocess.run(["cmake", "--build", build, *jobs], check=True)
        subprocess.run(["cmake", "--install", build], check=True, stdout=subprocess.DEVNULL)


# One named extension stands for all that CMake installs into the package: wheels get their tag by
# it.
setup(ext_modules=[Extension("hashgcn._numpy", [])], cmdclass={"build_ext": CMakeBuild})
