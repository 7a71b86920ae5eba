# Another program's hand in the vault: one byte of a record, from the outside. Prints the row's id.
import sqlite3, sys

db = sqlite3.connect(sys.argv[1])
id, meta = db.execute("SELECT id, meta FROM keys ORDER BY id LIMIT 1").fetchone()
db.execute("UPDATE keys SET meta = ? WHERE id = ?", (meta[:-1] + bytes([meta[-1] ^ 1]), id))
db.commit()
print(id.hex())
