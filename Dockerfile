# One image for MLflow's server and for the head and the workers of a Ray cluster.
FROM python:3.11-slim-bookworm

RUN useradd --uid 1000 --create-home sweeps && install --directory --owner=sweeps /home/sweeps/.cache /work
WORKDIR /opt/mt-sweeps

# What we depend on first, as requirements.txt pins it: it changes less often than our code.
COPY requirements.txt pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --system --no-cache --compile-bytecode --constraint requirements.txt \
        --requirements pyproject.toml --extra team
COPY mt_sweeps mt_sweeps
COPY trainers trainers
RUN uv pip install --system --no-cache --compile-bytecode --no-deps .

USER 1000
WORKDIR /work
CMD ["mt-sweep", "--help"]
