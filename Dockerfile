# Redis with the module: docker build --tag redis-dirty . && docker run --publish 127.0.0.1:6379:6379 redis-dirty
# Both stages are the same Debian, so that what one builds runs in the other. Its Redis, 7.0.15, is the server that the
# whole test suite runs on. `make test-package` carries out each line of the last stage by hand.
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends libclang-dev
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY core ./core
COPY src ./src
RUN cargo build --release --locked && strip --strip-unneeded target/release/libdirty_streams.so

FROM debian:bookworm-slim
# The user has the id that it has in Redis's own image, so that either can read a volume of the other.
RUN groupadd --system --gid 999 redis && \
    useradd --system --uid 999 --gid redis --home-dir /data --no-create-home redis && \
    apt-get update && \
    apt-get install --yes --no-install-recommends redis-server && \
    rm -rf /var/lib/apt/lists/* && \
    install --directory --owner redis --group redis /data
COPY --from=build /build/target/release/libdirty_streams.so /usr/lib/redis/modules/libdirty_streams.so
COPY LICENSE /usr/share/doc/dirty-streams/
USER redis
WORKDIR /data
VOLUME /data
EXPOSE 6379
# With a password the server answers NOAUTH, and is as healthy.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD redis-cli PING | grep -qE 'PONG|NOAUTH'
# The container's network is its own, and what is published of it is up to `docker run`. Arguments of `docker run` are
# further options of the server: docker run redis-dirty --requirepass secret --maxmemory 1gb
ENTRYPOINT ["redis-server", "--bind", "*", "-::*", "--protected-mode", "no", "--dir", "/data", "--appendonly", "yes", "--loadmodule", "/usr/lib/redis/modules/libdirty_streams.so"]
