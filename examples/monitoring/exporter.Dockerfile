# `dirty exporter` for compose.yaml; the build's context is clients/python.
FROM python:3.13-slim-bookworm
COPY pyproject.toml README.md LICENSE /build/
COPY src /build/src
RUN pip install --no-cache-dir "/build[exporter]" && rm -r /build
USER nobody
EXPOSE 10121
ENTRYPOINT ["dirty", "exporter", "--listen", "0.0.0.0:10121"]
