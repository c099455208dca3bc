// All addresses are relative to /docs, so that the page works behind a path prefix too.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  // The default is a server of the internet.
  validatorUrl: null,
});
