FROM scratch AS busybox
COPY rootfs /
FROM busybox
# ensure local python is preferred over distribution python
ENV PATH /usr/local/bin:$PATH
ENV LANG C.UTF-8
ENV GPG_KEY 7169605F62C751356D054A26A821E680E5FA6305
ENV PYTHON_VERSION 3.99.0
ENV PYTHON_SHA256 0123456789abcdef
RUN set -eux; \
	\
	mkdir -p /usr/local/bin /usr/src/python/__pycache__; \
	echo "$PYTHON_VERSION" > /usr/src/python/version; \
	cp /usr/src/python/version /usr/local/bin/python3; \
	\
	find /usr/src -depth \
		\( \
			\( -type d -a \( -name test -o -name __pycache__ \) \) \
			-o \( -type f -a \( -name '*.pyc' -o -name '*.a' \) \) \
		\) -exec rm -rf '{}' + \
	;
# make some useful symlinks that are expected to exist
RUN set -eux; \
	for src in idle3 pydoc3 python3 python3-config; do \
		dst="$(echo "$src" | tr -d 3)"; \
		touch "/usr/local/bin/$src"; \
		ln -svT "$src" "/usr/local/bin/$dst"; \
	done
CMD ["python3"]
