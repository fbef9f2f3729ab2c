"""Who answers: one protocol, and the servers that speak it.

wire                        messages, a question, a reply, what is known of a model
openai, heard               any OpenAI-compatible server: llama-server, mlx_lm.server, a cloud
lmstudio                    LM Studio, which also tells of its models and unloads them
ollama, _chat, _models      Ollama's own API: it sets the context length, tells what is loaded, unloads it
mlx, child, checkpoint      mlx_lm.server as a child of ours, no other software needed
web                         one way to a server: no proxies, one deadline, a connection that is cut when it passes
failures, figures           what went wrong, as a kind; numbers in what servers say
proof                       whether the whole prompt was read
thoughts                    what was thought, apart from what was said
choose                      from a name (``ollama:qwen3-coder:30b``) to an endpoint; the choice of ``auto``
"""
