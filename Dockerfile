# The gateway, its four adapters and the sandbox. Nothing secret is in the image; settings and keys are mounted.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/kennisgeving
ENV PATH=/opt/kennisgeving/bin:$PATH
COPY requirements.txt requirements-build.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.txt
COPY . .
RUN /opt/build/bin/python -m hatchling build --target wheel --directory /wheel \
    && pip install --no-cache-dir --no-deps /wheel/*.whl

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin kennisgeving
COPY --from=build /opt/kennisgeving /opt/kennisgeving
ENV PATH=/opt/kennisgeving/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LOGNAME=kennisgeving \
    KENNISGEVING_HEALTH=http://127.0.0.1:8080/healthz
WORKDIR /etc/kennisgeving
USER kennisgeving
EXPOSE 8080 8443
# SSL_CERT_FILE names the trust anchor where KENNISGEVING_HEALTH is an https address.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['KENNISGEVING_HEALTH'], timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["kennisgeving"]
CMD ["serve", "--config", "/etc/kennisgeving/gateway.toml"]
