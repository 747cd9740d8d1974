//! What is read.

use std::fmt;

use clap::Args;

/// What the events are, and how they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    pub(crate) body: usize,
    pub(crate) partitions: u32,
    pub(crate) connections: u32,
    pub(crate) tls: bool,
    pub(crate) properties: bool,
}

const COMMON: Scene = Scene { body: 1024, partitions: 1, connections: 1, tls: false, properties: false };

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = if self.partitions == 1 { "partition" } else { "partitions" };
        let connections = match self.connections {
            1 => String::new(),
            several => format!(" on {several} connections"),
        };
        let transport = if self.tls { "TLS" } else { "plain TCP" };
        let properties = if self.properties { ", 5 application properties" } else { "" };
        write!(f, "{} B, {} {partitions}{connections}, {transport}{properties}", self.body, self.partitions)
    }
}

/// Scenes by what varies. Without any of these, 1 KiB over plain TCP from one partition, and each variation of that
#[derive(Debug, Clone, Args)]
pub struct Choice {
    /// Body sizes in bytes, each at least 8
    #[arg(long, value_delimiter = ',', value_name = "BYTES,BYTES", value_parser = body)]
    body: Vec<usize>,
    /// Numbers of partitions, each 1 to 255
    #[arg(long, value_delimiter = ',', value_name = "N,N", value_parser = clap::value_parser!(u32).range(1..=255))]
    partitions: Vec<u32>,
    /// Numbers of connections that the partitions are spread over, each 1 to 255; for our own client and fe2o3-amqp
    #[arg(long, value_delimiter = ',', value_name = "N,N", value_parser = clap::value_parser!(u32).range(1..=255))]
    connections: Vec<u32>,
    /// Over TLS: false, true or both
    #[arg(long, value_delimiter = ',', num_args = 0..=1, default_missing_value = "true", value_name = "BOOL,BOOL")]
    tls: Vec<bool>,
    /// With five application properties: false, true or both
    #[arg(long, value_delimiter = ',', num_args = 0..=1, default_missing_value = "true", value_name = "BOOL,BOOL")]
    properties: Vec<bool>,
}

fn body(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes @ 8..=65_000) => Ok(bytes),
        _ => Err("must be 8 to 65000, so that an event fits into a frame".to_owned()),
    }
}

impl Choice {
    /// One scene, unless one was asked for.
    pub(crate) fn quick(&mut self) {
        if self.is_default() {
            self.body.push(COMMON.body);
        }
    }

    fn is_default(&self) -> bool {
        self.body.is_empty()
            && self.partitions.is_empty()
            && self.connections.is_empty()
            && self.tls.is_empty()
            && self.properties.is_empty()
    }

    /// All combinations of what was asked, else the variations of the common case.
    pub(crate) fn scenes(&self) -> Vec<Scene> {
        if self.is_default() {
            return variations();
        }
        let mut scenes = vec![COMMON];
        vary(&mut scenes, &self.body, |scene, body| scene.body = body);
        vary(&mut scenes, &self.partitions, |scene, partitions| scene.partitions = partitions);
        vary(&mut scenes, &self.connections, |scene, connections| scene.connections = connections);
        vary(&mut scenes, &self.tls, |scene, tls| scene.tls = tls);
        vary(&mut scenes, &self.properties, |scene, properties| scene.properties = properties);
        scenes
    }
}

fn variations() -> Vec<Scene> {
    let bodies = [1024, 100, 16_384].map(|body| Scene { body, ..COMMON });
    let partitions = [8, 32].map(|partitions| Scene { partitions, ..COMMON });
    let others = [Scene { tls: true, ..COMMON }, Scene { properties: true, ..COMMON }];
    bodies.into_iter().chain(partitions).chain(others).collect()
}

/// Each scene with each of the values that were asked for, if any were.
fn vary<T: Copy>(scenes: &mut Vec<Scene>, asked: &[T], set: impl Fn(&mut Scene, T)) {
    if asked.is_empty() {
        return;
    }
    let with = |mut scene: Scene, value| {
        set(&mut scene, value);
        scene
    };
    *scenes = scenes.iter().flat_map(|scene| asked.iter().map(|value| with(scene.clone(), *value))).collect();
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        choice: Choice,
    }

    fn scenes(line: &str) -> Vec<String> {
        let line = Line::parse_from(["bench"].into_iter().chain(line.split_whitespace()));
        line.choice.scenes().iter().map(Scene::to_string).collect()
    }

    #[test]
    fn without_a_choice_each_thing_varies_alone() {
        assert_eq!(scenes("").len(), 7);
    }

    #[test]
    fn what_is_chosen_is_combined_and_the_rest_is_common() {
        assert_eq!(scenes("--body 100,200 --tls"), ["100 B, 1 partition, TLS", "200 B, 1 partition, TLS"]);
        assert_eq!(scenes("--tls false,true --partitions 1,8").len(), 4);
        assert_eq!(
            scenes("--connections 1,2 --partitions 8"),
            ["1024 B, 8 partitions, plain TCP", "1024 B, 8 partitions on 2 connections, plain TCP"]
        );
    }
}
