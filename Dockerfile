# `search serve` in a container, for docker-compose.yml: docker compose --profile serve up
#
# What it installs is what requirements.lock pins, by hash. It needs no root, no capability and no compiler.

FROM python:3.11-slim-bookworm

RUN useradd --create-home --uid 1000 lookalike
WORKDIR /opt/lookalike
COPY requirements.lock ./
RUN python -m pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY lookalike lookalike
COPY search search
COPY ingest ingest
COPY exporter exporter
COPY core core
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
    && mkdir /home/lookalike/home && chown lookalike:lookalike /home/lookalike/home

USER lookalike
ENV LOOKALIKE_HOME=/home/lookalike/home \
    LOOKALIKE_PROVIDER=cpu \
    PYTHONUNBUFFERED=1
VOLUME /home/lookalike/home
EXPOSE 8756
STOPSIGNAL SIGTERM
# /readyz needs no token; the image has no curl.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8756/readyz', timeout=2)"]
ENTRYPOINT ["search", "serve", "--host", "0.0.0.0"]
