// Azurite must not outlive the test that started it, however that ends: its end of the pipe is closed by then.
process.stdin
  .on("end", () => {
    setTimeout(() => process.exit(), 5000).unref();
    process.emit("SIGINT") || process.exit();
  })
  .resume();

// Nobody may be left to read what it says about that.
process.stdout.on("error", () => {});
