FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN set -eux; \
	mkdir -p /usr/local/etc; \
	echo 'gem: --no-document' >> /usr/local/etc/gemrc
ENV LANG C.UTF-8
ENV RUBY_VERSION 3.99.0
ENV GEM_HOME /usr/local/bundle
ENV BUNDLE_SILENCE_ROOT_WARNING=1 \
	BUNDLE_APP_CONFIG="$GEM_HOME"
ENV PATH $GEM_HOME/bin:$PATH
RUN mkdir "$GEM_HOME" && chmod 1777 "$GEM_HOME"
CMD [ "irb" ]
