//! The command line at a terminal: what is asked, what is shown, and how the terminal is left.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::time::{SystemTime, UNIX_EPOCH};

use cli_support::terminal::Terminal;
use cli_support::{Home, PASSPHRASE, code, stdout};
use nix::sys::termios::{LocalFlags, tcgetattr};

#[test]
fn a_new_passphrase_is_asked_twice_and_never_shown() {
    let home = Home::empty();
    let mut terminal = Terminal::open(&home, &["init", "--no-totp"]);
    terminal.expect("new passphrase: ");
    assert!(!terminal.echoes());
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    terminal.expect("the same again: ");
    assert!(!terminal.echoes());
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    terminal.expect("account default is created and unlocked");
    assert!(terminal.echoes(), "the terminal is as it was");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains(PASSPHRASE));
}

#[test]
fn two_different_passphrases_make_no_account() {
    let home = Home::empty();
    let mut terminal = Terminal::open(&home, &["init", "--no-totp"]);
    terminal.expect("new passphrase: ");
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    terminal.expect("the same again: ");
    terminal.type_in("correct horse battery stable\n");
    terminal.expect("error: passphrase: the two passphrases differ");
    assert_eq!(terminal.end().0, 1);
    let status = stdout(&home.akm(&["status", "--json"], ""));
    assert!(status.contains("\"initialized\":false"), "{status}");
}

#[test]
fn an_interrupted_question_gives_the_echo_back() {
    let home = Home::ready();
    home.akm(&["lock"], "");
    let mut terminal = Terminal::open(&home, &["unlock"]);
    terminal.expect("passphrase: ");
    assert!(!terminal.echoes());
    terminal.type_in("half a pass\u{3}");
    // The terminal outlives the program: its settings can be asked for afterwards.
    let keeper = terminal.master.try_clone().unwrap();
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
    assert!(!shown.contains("half a pass"));
    let settings = tcgetattr(&keeper).unwrap();
    assert!(settings.local_flags.contains(LocalFlags::ECHO));
    assert!(stdout(&home.akm(&["status", "--json"], "")).contains("\"locked\":true"));
}

#[test]
fn an_authenticator_is_set_up_at_the_terminal() {
    let home = Home::empty();
    let mut terminal = Terminal::open(&home, &["init"]);
    for question in ["new passphrase: ", "the same again: "] {
        terminal.expect(question);
        terminal.type_in(&format!("{PASSPHRASE}\n"));
    }
    terminal.expect("TOTP secret: ");
    let secret = terminal.expect("\r\n");
    let totp = totp_rs::Builder::new()
        .with_secret(totp_rs::Secret::try_from_base32(&secret).unwrap())
        .build()
        .unwrap();
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let picture = terminal.expect("code of your authenticator (empty: later): ");
    // Half blocks, at least 21 modules high: the smallest QR code there is.
    let rows = picture
        .lines()
        .filter(|line| line.contains('▀') || line.contains('█'))
        .count();
    assert!(rows > 10, "{picture}");
    let right = totp.generate(now()).to_string();
    let wrong = if right.starts_with('1') { "2" } else { "1" }.to_owned() + &right[1..];
    terminal.type_in(&format!("{wrong}\n"));
    terminal.expect("error: ");
    terminal.expect("code of your authenticator (empty: later): ");
    terminal.type_in(&format!("{}\n", totp.generate(now())));
    terminal.expect("TOTP is confirmed");
    assert_eq!(terminal.end().0, 0);

    home.akm(&["lock"], "");
    let mut terminal = Terminal::open(&home, &["unlock"]);
    terminal.expect("passphrase: ");
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    terminal.expect("code of your authenticator: ");
    terminal.type_in(&format!("{}\n", totp.generate(now() + 30)));
    terminal.expect("default is unlocked");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn a_secret_is_asked_for_and_not_shown() {
    let home = Home::ready();
    let mut terminal = Terminal::open(&home, &["add", "openai"]);
    terminal.expect("secret of openai/default: ");
    assert!(!terminal.echoes());
    terminal.type_in("sk-typed-by-hand-0123456789\n");
    terminal.expect("is stored");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0);
    assert!(!shown.contains("typed-by-hand"));
    assert_eq!(
        stdout(&home.akm(&["get", "openai"], "")),
        "sk-typed-by-hand-0123456789\n"
    );
}

#[test]
fn rm_asks_on_a_terminal() {
    let home = Home::with_key("openai", "sk-0123456789-0123456789");
    for (answer, left) in [("n", true), ("", true), ("yes", false)] {
        let mut terminal = Terminal::open(&home, &["rm", "openai"]);
        terminal.expect("remove openai/default and its history? [y/N] ");
        terminal.type_in(&format!("{answer}\n"));
        assert_eq!(terminal.end().0, i32::from(left), "{answer:?}");
        let get = home.akm(&["get", "openai"], "");
        assert_eq!(code(&get), i32::from(!left), "{answer:?}");
    }
}

#[test]
fn the_questions_of_a_new_provider_make_the_record_that_flags_make() {
    let home = Home::ready();
    let mut terminal = Terminal::open(&home, &["provider", "add"]);
    for (question, answer) in [
        ("name, as in names of keys", "my-gateway"),
        ("address (", "https://gw.example.com/v1"),
        ("how a request carries the key", "header:X-Api-Key"),
        ("what a test asks for", "/v1/models"),
        ("does that answer a valid key only?", "y"),
        ("variable that akm run sets [MY_GATEWAY_API_KEY]", ""),
    ] {
        terminal.expect(question);
        terminal.type_in(&format!("{answer}\n"));
    }
    terminal.expect("my-gateway is added");
    assert_eq!(terminal.end().0, 0);
    let asked = stdout(&home.akm(&["provider", "show", "my-gateway", "--json"], ""));
    home.akm(&["provider", "rm", "my-gateway"], "");
    let flags = [
        "provider",
        "add",
        "my-gateway",
        "--base-url",
        "https://gw.example.com/v1",
        "--auth",
        "header:X-Api-Key",
        "--test-path",
        "/v1/models",
        "--proves-key",
    ];
    assert_eq!(code(&home.akm(&flags, "")), 0);
    let flagged = stdout(&home.akm(&["provider", "show", "my-gateway", "--json"], ""));
    assert!(asked.contains("x-api-key"), "{asked}");
    assert_eq!(asked, flagged);
}

#[test]
fn a_wrong_answer_about_a_new_provider_is_asked_for_again() {
    let home = Home::ready();
    let mut terminal = Terminal::open(&home, &["provider", "add"]);
    for (question, wrong, why, right) in [
        (
            "name, as in names of keys",
            "openai",
            "built-in",
            "my-gateway",
        ),
        (
            "address (",
            "http://gw.example.com/v1",
            "error: base_url: ",
            "https://gw.example.com/v1",
        ),
        ("how a request carries", "magic", "error: auth: ", "bearer"),
        (
            "what a test asks for",
            "v1/models",
            "starts with a slash",
            "",
        ),
        ("does that answer a valid key only?", "", "", ""),
        (
            "variable that akm run sets",
            "a-b",
            "look at env.primary",
            "MY_VAR",
        ),
    ] {
        terminal.expect(question);
        if !why.is_empty() {
            terminal.type_in(&format!("{wrong}\n"));
            terminal.expect(why);
            terminal.expect(question);
        }
        terminal.type_in(&format!("{right}\n"));
    }
    terminal.expect("my-gateway is added");
    assert_eq!(terminal.end().0, 0);
    let shown = stdout(&home.akm(&["provider", "show", "my-gateway", "--json"], ""));
    assert!(
        shown.contains("MY_VAR") && shown.contains("bearer"),
        "{shown}"
    );
    // What was typed as an argument is not a question; neither is who does not answer.
    let terminal = Terminal::open(&home, &["provider", "add", "openai"]);
    let (code, shown) = terminal.end();
    assert_eq!(code, 1, "{shown}");
    assert!(!shown.contains("address ("), "{shown}");
    let mut terminal = Terminal::open(&home, &["provider", "add"]);
    terminal.expect("name, as in names of keys");
    // Said before the other questions.
    terminal.type_in("my-gateway\n");
    terminal.expect("a provider of this name exists already");
    terminal.expect("name, as in names of keys");
    terminal.type_in("\u{4}");
    let (code, shown) = terminal.end();
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("the question was not answered"), "{shown}");
}

#[test]
fn a_terminal_that_was_never_told_its_width_gets_whole_rows() {
    let home = Home::empty();
    let akm = env!("CARGO_BIN_EXE_akm");
    // The control: 40 columns are too few for a row.
    for (columns, is_whole) in [("0", true), ("40", false)] {
        let line = format!("stty cols {columns} && exec {akm} providers");
        let (code, shown) = Terminal::of(&home, "sh", &["-c", &line]).end();
        assert_eq!(code, 0, "{shown}");
        let whole = |line: &str| line.contains("openai") && line.contains("OPENAI_API_KEY");
        assert_eq!(shown.lines().any(whole), is_whole, "{columns}: {shown}");
    }
}
