# Redis with the module, on the official image: docker build --tag redis-dirty . && docker run --publish 6379:6379 redis-dirty
# Both stages are the same Debian, so that what one builds runs in the other.
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends libclang-dev
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY core ./core
COPY src ./src
RUN cargo build --release --locked && strip --strip-unneeded target/release/libdirty_streams.so

FROM redis:7.2-bookworm
COPY --from=build /build/target/release/libdirty_streams.so /usr/lib/redis/modules/libdirty_streams.so
COPY LICENSE /usr/share/doc/dirty-streams/
# The image's own entry point runs this as the user redis. Arguments to docker run come in its place, so they
# begin with the same: docker run redis-dirty redis-server --loadmodule … --appendonly yes
CMD ["redis-server", "--loadmodule", "/usr/lib/redis/modules/libdirty_streams.so"]
