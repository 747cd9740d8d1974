# The emulator as an image: docker build -t eventhubs-emulator . && docker run -p 5672:5672 -p 5300:5300 eventhubs-emulator
# The build stage is a script, so that CI runs it without Docker; `cargo xtask ci` also runs the command below.
FROM rust:1.88-slim AS build
WORKDIR /source
COPY . .
RUN sh docker/build.sh /installed

FROM debian:bookworm-slim
COPY --from=build /installed/bin/eventhubs /usr/local/bin/eventhubs
# No root, and no folder of its own: `-v events:/data` with `--data /data` keeps events.
USER 65532:65532
EXPOSE 5672 5300
ENTRYPOINT ["eventhubs"]
CMD ["emulator", "--bind", "0.0.0.0", "--allow-host", "eventhubs-emulator", "--hub", "orders:4"]
