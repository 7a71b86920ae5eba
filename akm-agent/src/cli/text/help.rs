//! Help in Chinese. The doc comments of the commands are the source of the English; `texts/help.zh.po` holds the Chinese
//! of each sentence, so a sentence that is changed has none until somebody looks at it, and a test says so.
//!
//! The tree of commands is only walked when help was asked for: a command that runs pays nothing. Words of clap itself
//! (`Usage:`) are in the same file and are replaced in what it rendered.

use clap::builder::{PossibleValuesParser, StyledStr};
use clap::{Arg, Command};

use super::sentence::pairs;

const HELP: &str = include_str!("../../../texts/help.zh.po");

/// Words that clap puts into help by itself; they stand in the file as well.
const OF_CLAP: &[&str] = &[
    "Usage: ",
    "Usage:",
    "Commands:",
    "Arguments:",
    "Options:",
    "[OPTIONS]",
    "<COMMAND>",
    "[COMMAND]",
    "Possible values:",
    "[possible values: ",
    "[default: ",
    "[aliases: ",
    "Print help (see more with '--help')",
    "Print help (see a summary with '-h')",
    "Print help",
    "Print version",
];

/// The Chinese of a text of help, line by line; a line that is indented is an example and stays.
fn chinese(text: &str) -> String {
    let pairs = pairs(HELP);
    let lines: Vec<&str> = text
        .lines()
        .map(|line| {
            let found = pairs.iter().find(|(english, _)| english == line);
            found.map_or(line, |(_, chinese)| chinese.as_str())
        })
        .collect();
    lines.join("\n")
}

/// A tree of commands with its help in Chinese.
pub(crate) fn in_chinese(command: Command) -> Command {
    let text = |styled: Option<&StyledStr>| styled.map(|text| chinese(&text.to_string()));
    let about = text(command.get_about());
    let long_about = text(command.get_long_about());
    let after = text(command.get_after_help());
    let mut command = command.mut_subcommands(in_chinese).mut_args(|mut arg| {
        if let Some(help) = text(arg.get_help()) {
            arg = arg.help(help);
        }
        if let Some(help) = text(arg.get_long_help()) {
            arg = arg.long_help(help);
        }
        with_values(arg)
    });
    if let Some(about) = about {
        command = command.about(about);
    }
    if let Some(about) = long_about {
        command = command.long_about(about);
    }
    if let Some(after) = after {
        command = command.after_help(after);
    }
    command
}

/// An argument with what its values mean in Chinese. Its values are texts then, which is enough for help: what runs is
/// read with the English tree.
fn with_values(arg: Arg) -> Arg {
    let values = arg.get_possible_values();
    if values.iter().all(|value| value.get_help().is_none()) {
        return arg;
    }
    let values = values.into_iter().map(|value| {
        let help = value.get_help().map(|help| chinese(&help.to_string()));
        match help {
            Some(help) => value.help(help),
            None => value,
        }
    });
    arg.value_parser(PossibleValuesParser::new(values))
}

/// What clap rendered, its own words in Chinese.
pub(crate) fn words_of_clap(rendered: &str) -> String {
    let pairs = pairs(HELP);
    OF_CLAP.iter().fold(rendered.to_owned(), |text, word| {
        match pairs.iter().find(|(english, _)| english == word) {
            Some((_, chinese)) => text.replace(word, chinese),
            None => text,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use clap::CommandFactory;

    use super::super::tests::is_chinese;
    use super::*;

    /// Values that are explained by a name, which is the same in every language.
    const NAMES: &[&str] = &[
        "English",
        "Slack",
        "简体中文",
        "飞书, Lark",
        "钉钉",
        "企业微信",
    ];

    /// Every line of help that a person reads, of a tree.
    fn lines(command: &Command, found: &mut BTreeSet<String>) {
        let mut add = |text: Option<&StyledStr>| {
            let text = text.map(ToString::to_string).unwrap_or_default();
            let lines = text
                .lines()
                .filter(|line| !line.starts_with(' ') && !line.is_empty());
            found.extend(lines.map(str::to_owned));
        };
        add(command.get_about());
        add(command.get_long_about());
        add(command.get_after_help());
        add(command.get_after_long_help());
        for arg in command.get_arguments() {
            add(arg.get_help());
            add(arg.get_long_help());
            for value in arg.get_possible_values() {
                // What is sent stands between backticks, for those who play a provider.
                let says = |help: &&StyledStr| {
                    let help = help.to_string();
                    !NAMES.contains(&help.as_str()) && !help.starts_with('`')
                };
                add(value.get_help().filter(says));
            }
        }
        command
            .get_subcommands()
            .for_each(|child| lines(child, found));
    }

    #[test]
    fn every_line_of_help_has_its_chinese() {
        let mut said = BTreeSet::new();
        lines(&super::super::super::Cli::command(), &mut said);
        assert!(said.len() > 80, "the walk finds them");
        assert!(
            said.contains("Also dash and ksh"),
            "the walk finds what values mean"
        );
        let pairs = pairs(HELP);
        let known: BTreeMap<&str, &str> = pairs
            .iter()
            .map(|(english, chinese)| (english.as_str(), chinese.as_str()))
            .collect();
        for (english, chinese) in &pairs {
            // What two people add at once stands twice after a merge, and is the same.
            assert_eq!(known[english.as_str()], chinese, "{english} stands twice");
        }
        let missing: Vec<&String> = said
            .iter()
            .filter(|line| !known.contains_key(line.as_str()))
            .collect();
        assert!(
            missing.is_empty(),
            "texts/help.zh.po lacks a msgid for {missing:#?}"
        );
        for (_, chinese) in &pairs {
            assert!(is_chinese(chinese), "not Chinese: {chinese}");
        }
    }

    #[test]
    fn the_tree_is_all_chinese_and_still_sound() {
        let command = in_chinese(super::super::super::Cli::command());
        command.clone().debug_assert();
        let mut said = BTreeSet::new();
        lines(&command, &mut said);
        for line in said {
            assert!(is_chinese(&line), "{line}");
        }
    }

    #[test]
    fn help_says_in_chinese_what_a_value_means() {
        let help = |name: &str| {
            let asked = ["akm", name, "--help"];
            let shown = in_chinese(super::super::super::Cli::command()).try_get_matches_from(asked);
            words_of_clap(&shown.unwrap_err().to_string())
        };
        for (command, value, chinese) in [
            ("env", "sh", "dash 与 ksh"),
            ("export", "json", "akm 自己的格式"),
            ("export", "env", "每行一个"),
            ("import", "age", "以口令加密"),
        ] {
            let help = help(command);
            let line = help.lines().find(|line| {
                line.trim_start()
                    .strip_prefix("- ")
                    .is_some_and(|line| line.split([':', '：', ' ']).next() == Some(value))
            });
            let line = line.unwrap_or_else(|| panic!("{command} {value}: {help}"));
            assert!(line.contains(chinese), "{line}");
        }
        assert!(!help("env").contains("Also"), "no English is left");
    }
}
