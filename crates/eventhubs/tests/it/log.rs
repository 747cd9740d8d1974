//! What is logged while a test runs, as text.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::fmt::MakeWriter;

/// The lines of the current thread. It records until it is dropped.
#[derive(Debug)]
pub(crate) struct Log {
    text: Text,
    _recording: DefaultGuard,
    /// While a process has had one subscriber only, `tracing` asks that of the thread that reaches a line
    /// first whether anybody wants the line, once for all threads: a test without a subscriber would silence
    /// it for this one. A second one ends that.
    _second: Dispatch,
}

#[derive(Debug, Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn record() -> Self {
        let text = Text::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(text.clone()).finish();
        let second = Dispatch::new(NoSubscriber::new());
        Self { text, _recording: tracing::subscriber::set_default(subscriber), _second: second }
    }

    /// The lines that have all of these parts.
    pub(crate) fn lines(&self, parts: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.text.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        lines.map(str::to_owned).collect()
    }

    pub(crate) async fn until(&self, parts: &[&str]) -> String {
        crate::support::until(format!("a line with {parts:?}"), || !self.lines(parts).is_empty()).await;
        self.lines(parts).swap_remove(0)
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Text {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}
