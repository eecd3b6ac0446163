# One image for MLflow's server and for the head and the workers of a Ray cluster.
FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

RUN useradd --uid 1000 --create-home sweeps && install --directory --owner=sweeps /home/sweeps/.cache /work
WORKDIR /opt/mt-sweeps

# What we depend on first: it changes less often than our code. The hash of every package is checked, also of the one
# that builds ours.
COPY requirements.txt pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY mt_sweeps mt_sweeps
COPY trainers trainers
RUN pip install --no-cache-dir --no-build-isolation --no-deps .

USER 1000
WORKDIR /work
CMD ["mt-sweep", "--help"]
