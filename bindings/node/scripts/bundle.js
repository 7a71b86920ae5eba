// Puts libakm into the package, from the file that AKM_LIBRARY names. A package without it would install and then fail
// at the first call, so its absence fails the packing.
import { copyFileSync, mkdirSync, rmSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const library = process.env.AKM_LIBRARY;
if (!library || !statSync(library, { throwIfNoEntry: false })?.isFile()) {
  console.error("set AKM_LIBRARY to the built libakm (cargo build --release -p akm-ffi)");
  process.exit(1);
}
const native = new URL("../native/", import.meta.url);
const place = new URL(`${process.platform}-${process.arch}/`, native);
rmSync(native, { recursive: true, force: true });
mkdirSync(place, { recursive: true });
copyFileSync(library, fileURLToPath(new URL(process.platform === "darwin" ? "libakm.dylib" : "libakm.so", place)));
