//! The types that the packages for Python and Node ship: they name every field of a key, and they compile.

use std::os::unix::fs::symlink;

use akm_core::protocol::{Key, KeyStatus, LastTest, Outcome};

use crate::agent::home;
use crate::{node, python, tools};

/// The fields of a key's record, sorted. The compiler says when one is missing here.
fn fields() -> Vec<String> {
    let text = String::new;
    let key = Key {
        name: text(),
        provider: text(),
        label: text(),
        model: Some(text()),
        categories: Vec::new(),
        status: KeyStatus::Active,
        preview: text(),
        env: Some(text()),
        low_balance: Some(text()),
        team: Some(text()),
        lifetime_s: Some(1),
        use_only: false,
        confirm: false,
        base_url: Some(text()),
        hosts: Vec::new(),
        header: Some(text()),
        notes: Some(text()),
        version: 1,
        created_at: text(),
        updated_at: text(),
        last_used_at: Some(text()),
        expires_at: Some(text()),
        last_test: Some(LastTest {
            outcome: Outcome::Valid,
            time: text(),
        }),
    };
    let key = serde_json::to_value(key).unwrap();
    let mut fields: Vec<String> = key.as_object().unwrap().keys().cloned().collect();
    fields.sort();
    fields
}

#[test]
fn pythons_key_has_every_field() {
    if !tools::have("python3") {
        return;
    }
    let dir = home();
    let script = dir.path().join("fields.py");
    std::fs::write(
        &script,
        "import akm\nprint(*sorted(akm.Key.__annotations__))\n",
    )
    .unwrap();
    let printed = tools::run(&mut python::command(script));
    assert_eq!(printed.trim_end(), fields().join(" "));
}

/// Uses every name that the package exports, and asks the compiler for exactly these fields of a key.
const PROGRAM: &str = r#"
import { AkmError, Locked, connect, get, kinds, open, source, type Agent, type AuditEvent, type Key, type KeyFilters } from "akm";

export const fields: Record<keyof Key, true> = { FIELDS };

export async function main(filters: KeyFilters): Promise<number | undefined> {
  const agent: Agent = connect();
  const vault: Agent = open("vault.db");
  const later: () => Promise<string> = source("openai/work", { socket: "/agent.sock" });
  try {
    const secrets: string[] = [await get("openai/work"), await agent.get("openai/work"), await later()];
    const keys: Key[] = await agent.keys(filters);
    const { events } = await vault.call<{ events: AuditEvent[] }>("audit.list", { limit: 1 });
    return secrets.length + keys.length + events.length;
  } catch (error) {
    if (error instanceof Locked || error instanceof kinds["timeout"]!) return error.retry_after_s;
    if (error instanceof AkmError) return Number(error.field ?? error.hint ?? error.kind);
    throw error;
  } finally {
    agent.close();
    vault[Symbol.dispose]();
  }
}
"#;

#[test]
fn nodes_types_compile_and_a_key_has_every_field() {
    if !tools::have("node") || !tools::have("npm") {
        return;
    }
    let dir = home();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("node_modules")).unwrap();
    symlink(node::tree().join("bindings/node"), at("node_modules/akm")).unwrap();
    std::fs::write(at("package.json"), r#"{"private":true,"type":"module"}"#).unwrap();
    let compile = |program: &str| {
        std::fs::write(at("main.ts"), program).unwrap();
        // As little as a program may have: without @types/node, which brings more than its name says.
        let config = r#"{"compilerOptions":{"strict":true,"noEmit":true,"target":"es2022","lib":["es2022"],
            "module":"nodenext","types":[],"exactOptionalPropertyTypes":true},"files":["main.ts"]}"#;
        std::fs::write(at("tsconfig.json"), config).unwrap();
        tools::output(
            tools::clean("node")
                .arg(tools::node_with_sdks().join("typescript/bin/tsc"))
                .arg("-p")
                .arg(dir.path()),
        )
    };
    let said = |program: &str| String::from_utf8(compile(program).stdout).unwrap();
    let all: Vec<String> = fields()
        .iter()
        .map(|name| format!("{name}: true"))
        .collect();
    assert_eq!(said(&PROGRAM.replace("FIELDS", &all.join(", "))), "");
    // The controls: a field less, one more, a wrong type.
    let less = said(&PROGRAM.replace("FIELDS", &all[1..].join(", ")));
    assert!(less.contains("TS2741"), "{less}");
    let more = format!("{}, canary: true", all.join(", "));
    let more = said(&PROGRAM.replace("FIELDS", &more));
    assert!(more.contains("TS2353"), "{more}");
    let wrong =
        said("import { get } from 'akm';\nexport const wrong: number = await get('openai');\n");
    assert!(wrong.contains("TS2322"), "{wrong}");
}
