"""Talk to servers of language models: one protocol, and one class for each kind of server.

wire                     the protocol: a question, a reply, the facts about a model; tells whether a prompt was cut
openai, openai_stream    any OpenAI-compatible server: llama-server, mlx_lm.server, vLLM, a cloud
lmstudio                 LM Studio, which also reports its models and can unload them
ollama, ollama_models    Ollama's own API, which sets the context length, lists loaded models and unloads them
mlx, mlx_child           ``mlx_lm.server``, started and stopped by this program
checkpoint               the facts that the files of an MLX model give
web                      one HTTP call without proxies, with a deadline, and with a kind for each error
"""
