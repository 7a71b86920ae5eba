"""Puts libakm into the wheel as akm/_native/, from the file that AKM_LIBRARY names.

A wheel without the library would install and then fail at the first call, so its absence fails the build.
"""

import os
import sys
import sysconfig

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeLibrary(BuildHookInterface):
    def initialize(self, version, build_data):
        if version == "editable":
            return
        library = os.environ.get("AKM_LIBRARY", "")
        if not os.path.isfile(library):
            raise RuntimeError("set AKM_LIBRARY to the built libakm (cargo build --release -p akm-ffi)")
        name = "libakm.dylib" if sys.platform == "darwin" else "libakm.so"
        build_data["force_include"][os.path.abspath(library)] = "akm/_native/" + name
        build_data["pure_python"] = False
        # The library speaks C, not the C API of one Python: any Python 3, this platform only.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = "py3-none-" + platform
