use std::str::FromStr;

use eventhubs_simulator::Kind;

use crate::Result;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) help: bool,
    pub(crate) list: bool,
    pub(crate) json: bool,
    pub(crate) scenario: Option<String>,
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) instances: Option<usize>,
    pub(crate) partitions: Option<usize>,
    pub(crate) fleet: Option<Vec<Kind>>,
    pub(crate) threads: usize,
    pub(crate) report: Option<String>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            help: false,
            list: false,
            json: false,
            scenario: None,
            seed: 1,
            seeds: 1,
            instances: None,
            partitions: None,
            fleet: None,
            threads: 2,
            report: None,
        }
    }
}

impl Arguments {
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut words = words.into_iter();
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "-h" | "--help" => arguments.help = true,
                "--list" => arguments.list = true,
                "--json" => arguments.json = true,
                "--scenario" => arguments.scenario = Some(value()?),
                "--seed" => arguments.seed = number(&word, &value()?)?,
                "--seeds" => arguments.seeds = number(&word, &value()?)?,
                "--instances" => arguments.instances = Some(number(&word, &value()?)?),
                "--partitions" => arguments.partitions = Some(number(&word, &value()?)?),
                "--fleet" => arguments.fleet = Some(fleet(&value()?)?),
                "--threads" => arguments.threads = number(&word, &value()?)?,
                "--report" => arguments.report = Some(value()?),
                _ => return Err(format!("unknown argument `{word}`; --help names all").into()),
            }
        }
        Ok(arguments)
    }

    pub(crate) fn last_seed(&self) -> u64 {
        self.seed.saturating_add(self.seeds.saturating_sub(1))
    }
}

fn number<N: FromStr>(word: &str, text: &str) -> Result<N> {
    let number = text.parse();
    number.map_err(|_| format!("{word} needs a number, not `{text}`").into())
}

fn fleet(text: &str) -> Result<Vec<Kind>> {
    let kind = |name| Kind::from_name(name).ok_or_else(|| format!("no balancer is called `{name}`").into());
    text.split(',').map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn all_is_read_that_the_help_names() {
        let line = "--scenario join --seed 3 --seeds 4 --instances 8 --partitions 32 --fleet ours,go --threads 1 --json \
                    --report a.md --list";
        let arguments = parse(line).unwrap();
        assert_eq!((arguments.seed, arguments.last_seed()), (3, 6));
        assert_eq!((arguments.instances, arguments.partitions), (Some(8), Some(32)));
        assert_eq!(arguments.fleet, Some(vec![Kind::Ours, Kind::Go]));
        assert_eq!(arguments.scenario.as_deref(), Some("join"));
        assert_eq!(arguments.report.as_deref(), Some("a.md"));
        assert!(arguments.json && arguments.list && !arguments.help);
        for word in line.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(include_str!("help.txt").contains(word), "{word}");
        }
    }

    #[test]
    fn a_mistake_is_named() {
        for (line, named) in [
            ("--speed", "--speed"),
            ("--seed", "--seed needs a value"),
            ("--seed x", "not `x`"),
            ("--fleet ours,basic", "`basic`"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
