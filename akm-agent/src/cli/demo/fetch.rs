//! The programs that fetch a key: what is built for them, how they are run, and how they are refused.

use std::path::PathBuf;
use std::process::Command;

use super::super::text::text;
use super::build::{self, Checkout, Found};
use super::play::{Play, Played, WANTED, expect_code, failed, preview};
use super::provider::Role;
use super::stage::Stage;

/// Where the example programs are, and how the one in Rust is built.
const RUST_EXAMPLE: &str = "examples/rust/get.rs";
const RUST_BUILD: &[&str] = &["-p", "akm-core", "--features", "client", "--example", "get"];
const PYTHON_EXAMPLE: &str = "examples/python/get.py";
const NODE_EXAMPLE: &str = "examples/node/get.mjs";

/// A program that fetches a key.
pub(super) struct Fetcher {
    title: String,
    shown: String,
    pub(super) how: Found<How>,
    /// How it says that the account is locked.
    refusal: Refusal,
}

/// The program and its arguments, and what it needs to know beside the agent's socket.
pub(super) struct How {
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(&'static str, PathBuf)>,
}

enum Refusal {
    /// Exit code 3.
    Exit,
    /// An HTTP answer with status 423.
    Http,
}

impl How {
    fn command(&self, stage: &Stage) -> Command {
        let mut command = stage.program(&self.program);
        command.args(&self.arguments);
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }
}

impl Play {
    /// Builds what the programs need, and says how each is run or why it cannot be.
    pub(super) fn fetchers(&mut self) -> Played<Vec<Fetcher>> {
        let checkout = Checkout::find();
        let library = self.library(&checkout)?;
        let rust = self.rust_example(&checkout)?;
        let node = self.node(&checkout)?;
        // A program of the checkout that calls the C library.
        let script = |program: Found<PathBuf>, path: &str, more: Vec<(&'static str, PathBuf)>| {
            let checkout = checkout.as_ref().map_err(Clone::clone)?;
            let library = library.as_ref().map_err(Clone::clone)?.clone();
            Ok(How {
                program: program?,
                arguments: vec![
                    checkout.file(path)?.display().to_string(),
                    WANTED.to_owned(),
                ],
                variables: [more, vec![("AKM_LIBRARY", library)]].concat(),
            })
        };
        let python_path = match &checkout {
            Ok(checkout) => checkout.dir("bindings/python/src"),
            Err(_) => PathBuf::new(),
        };
        let python = script(
            build::tool("python3"),
            PYTHON_EXAMPLE,
            vec![
                ("PYTHONPATH", python_path),
                ("PYTHONDONTWRITEBYTECODE", PathBuf::from("1")),
            ],
        );
        let node = script(node, NODE_EXAMPLE, Vec::new());
        let plain = |program: Found<PathBuf>, arguments: &[&str]| {
            program.map(|program| How {
                program,
                arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
                variables: Vec::new(),
            })
        };
        let this = std::env::current_exe().map_err(|error| error.to_string());
        let socket = self.stage.socket().display().to_string();
        let body = format!("{{\"name\":\"{WANTED}\"}}");
        // No settings of the person's own, no proxy, and the status after the answer.
        let curl = [
            "--disable",
            "--noproxy",
            "*",
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--write-out",
            "\n%{http_code}",
            "--unix-socket",
            &socket,
            "--data",
            &body,
            "http://akm/v1/key.get",
        ];
        let fetcher = |title: String, shown, how| Fetcher {
            title,
            shown,
            how,
            refusal: Refusal::Exit,
        };
        Ok(vec![
            fetcher(
                text!("demo-by-akm"),
                format!("akm get {WANTED}"),
                plain(this, &["get", WANTED]),
            ),
            Fetcher {
                refusal: Refusal::Http,
                ..fetcher(
                    "curl".to_owned(),
                    format!("curl --unix-socket $AKM_AGENT_SOCK -d '{body}' http://akm/v1/key.get"),
                    plain(build::tool("curl"), &curl),
                )
            },
            fetcher(
                text!("demo-by-rust"),
                format!("{RUST_EXAMPLE} {WANTED}"),
                plain(rust, &[WANTED]),
            ),
            fetcher(
                text!("demo-by-python"),
                format!("python3 {PYTHON_EXAMPLE} {WANTED}"),
                python,
            ),
            fetcher(
                text!("demo-by-node"),
                format!("node {NODE_EXAMPLE} {WANTED}"),
                node,
            ),
        ])
    }

    fn library(&mut self, checkout: &Found<Checkout>) -> Played<Found<PathBuf>> {
        self.step(&text!("demo-build-c"), "cargo build -p akm-ffi")?;
        let (checkout, cargo) = match with_tool(checkout, build::cargo()) {
            Ok(both) => both,
            Err(why) => return self.without(why),
        };
        // Said before a compiler is silent for a while.
        self.result(&text!("demo-building"))?;
        let path = checkout.build(&self.stage, &cargo, &["-p", "akm-ffi", "--lib"], |file| {
            file.ends_with("libakm.so") || file.ends_with("libakm.dylib")
        })?;
        self.result(&path.display().to_string())?;
        Ok(Ok(path))
    }

    fn rust_example(&mut self, checkout: &Found<Checkout>) -> Played<Found<PathBuf>> {
        self.step(
            &text!("demo-build-rust"),
            "cargo build -p akm-core --features client --example get",
        )?;
        let (checkout, cargo) = match with_tool(checkout, build::cargo()) {
            Ok(both) => both,
            Err(why) => return self.without(why),
        };
        // Said before a compiler is silent for a while.
        self.result(&text!("demo-building"))?;
        let path = checkout.build(&self.stage, &cargo, RUST_BUILD, |file| {
            file.ends_with("/get")
        })?;
        self.result(&path.display().to_string())?;
        Ok(Ok(path))
    }

    fn node(&mut self, checkout: &Found<Checkout>) -> Played<Found<PathBuf>> {
        self.step(&text!("demo-build-node"), "npm ci")?;
        let tools = build::tool("node").and_then(|node| Ok((node, build::tool("npm")?)));
        let (checkout, (node, npm)) = match with_tool(checkout, tools) {
            Ok(both) => both,
            Err(why) => return self.without(why),
        };
        self.result(&text!("demo-registry"))?;
        let what = checkout.npm(&self.stage, &npm)?;
        self.result(&what)?;
        Ok(Ok(node))
    }

    fn without<T>(&mut self, why: String) -> Played<Found<T>> {
        self.skip(&why)?;
        Ok(Err(why))
    }

    /// The key comes, and it is the one that was added.
    pub(super) fn fetch(&mut self, fetcher: &Fetcher) -> Played {
        self.step(
            &text!("demo-fetch", who = fetcher.title.as_str()),
            &fetcher.shown,
        )?;
        let how = match &fetcher.how {
            Ok(how) => how,
            Err(why) => return self.skip(why),
        };
        let ran = self.stage.run(&mut how.command(&self.stage), "")?;
        expect_code(&ran, 0, &fetcher.title)?;
        let got = match fetcher.refusal {
            Refusal::Exit => ran.stdout.trim_end_matches('\n').to_owned(),
            Refusal::Http => {
                let (body, status) = ran.stdout.rsplit_once('\n').unwrap_or_default();
                if status != "200" {
                    return failed(text!("demo-http", status = status));
                }
                let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
                answer["result"]["secret"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            }
        };
        if got != Role::Openai.valid_key() {
            return failed(text!("demo-other-key"));
        }
        self.result(&text!("demo-fetched", preview = preview(&got)))
    }

    /// The account is locked: nothing comes, and the program says so.
    pub(super) fn refuse(&mut self, fetcher: &Fetcher) -> Played {
        self.step(
            &text!("demo-refuse", who = fetcher.title.as_str()),
            &fetcher.shown,
        )?;
        let how = match &fetcher.how {
            Ok(how) => how,
            Err(why) => return self.skip(why),
        };
        let ran = self.stage.run(&mut how.command(&self.stage), "")?;
        let printed = [ran.stdout.as_str(), ran.stderr.as_str()].concat();
        if printed.contains(Role::Openai.valid_key()) {
            return failed(text!("demo-came-out"));
        }
        match fetcher.refusal {
            Refusal::Exit => {
                expect_code(&ran, 3, &fetcher.title)?;
                if !ran.stdout.is_empty() {
                    return failed(text!("demo-stdout"));
                }
                let said = ran.stderr.lines().next().unwrap_or_default();
                self.result(&text!("demo-exit-3", said = said))
            }
            Refusal::Http => {
                expect_code(&ran, 0, &fetcher.title)?;
                let (body, status) = ran.stdout.rsplit_once('\n').unwrap_or_default();
                if status != "423" {
                    return failed(text!("demo-http", status = status));
                }
                self.result(&format!("HTTP 423: {body}"))
            }
        }
    }
}

fn with_tool<T>(checkout: &Found<Checkout>, tool: Found<T>) -> Found<(&Checkout, T)> {
    Ok((checkout.as_ref().map_err(Clone::clone)?, tool?))
}
