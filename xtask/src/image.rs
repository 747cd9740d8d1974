//! The image of the emulator, as far as it can be checked without Docker: its build stage, and its command.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::shell::{Result, root, run, target};

/// Builds as the Dockerfile does, starts what it starts, and asks whether it is healthy.
pub(crate) fn check() -> Result<()> {
    let dockerfile = fs::read_to_string(root().join("Dockerfile"))?;
    let installed = target()?.join("image");
    let script = dockerfile.lines().find_map(|line| line.strip_prefix("RUN sh "));
    let (script, _) =
        script.and_then(|line| line.split_once(' ')).ok_or("Dockerfile: no build script is run")?;
    // Without optimizations, which take minutes and show nothing here.
    let mut build = Command::new("sh");
    build.arg(script).arg(&installed).arg("--debug");
    run(build.current_dir(root()).env("CARGO_TARGET_DIR", target()?))?;

    let program = words(&dockerfile, "ENTRYPOINT")?.concat();
    let free_ports = ["--port", "0", "--health-port", "0", "--json"].map(str::to_owned);
    let mut command = Command::new(installed.join("bin").join(program));
    command.args(words(&dockerfile, "CMD")?).args(free_ports).stdout(Stdio::piped());
    let mut running = Running(command.spawn()?);
    let output = running.0.stdout.take().ok_or("the output was asked for")?;
    let mut announcement = String::new();
    BufReader::new(output).read_line(&mut announcement)?;
    let health = health(&announcement).ok_or_else(|| format!("no health address: {announcement}"))?;
    let answer = get(health, "/health")?;
    if !answer.contains("healthy") {
        return Err(format!("it is not healthy: {answer}").into());
    }
    println!("the image's command is healthy on {health}");
    Ok(())
}

/// Ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself has said why already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The words of an instruction of the Dockerfile that has them as a JSON array.
fn words(dockerfile: &str, instruction: &str) -> Result<Vec<String>> {
    let line = dockerfile.lines().find_map(|line| line.strip_prefix(instruction)?.trim().strip_prefix('['));
    let words = line
        .and_then(|line| line.strip_suffix(']'))
        .ok_or_else(|| format!("Dockerfile: no {instruction}"))?;
    Ok(words.split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect())
}

/// Host and port of `"health":"http://HOST:PORT/health"`.
fn health(announcement: &str) -> Option<&str> {
    let (_, rest) = announcement.split_once("\"health\":\"http://")?;
    rest.split_once("/health").map(|(address, _)| address)
}

fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_read_word_by_word() {
        let dockerfile = "FROM x\nENTRYPOINT [\"eventhubs\"]\nCMD [\"emulator\", \"--hub\", \"orders:4\"]\n";
        assert_eq!(words(dockerfile, "ENTRYPOINT").unwrap(), ["eventhubs"]);
        assert_eq!(words(dockerfile, "CMD").unwrap(), ["emulator", "--hub", "orders:4"]);
        assert!(words("CMD eventhubs", "CMD").is_err());
    }

    #[test]
    fn the_health_address_is_found() {
        let told = r#"{"namespaces":[],"health":"http://127.0.0.1:41/health","page":"http://127.0.0.1:41/"}"#;
        assert_eq!(health(told), Some("127.0.0.1:41"));
    }
}
