# akm 对人说的话，简体中文。id 与变量同 en.ftl。
#
# 术语（与 DESIGN 的用词一一对应，全文一致）：
#   vault 保险库 · account 账户 · passphrase 口令 · root key 根密钥 · recovery code 恢复码
#   agent 代理程序（首次出现）/ agent（命令与短语中不译） · unlock 解锁 · lock 锁定 · lifetime 有效时长 · session 会话
#   key 密钥（一条记录） · secret 密文以外的明文值，统称“密钥值” · provider 服务商 · model 模型 · category 分类 · status 状态
#   caller 调用方 · grant 授权 · use-only 仅供使用（不可取出） · audit 审计 · event 事件 · chain 链 · tier 套餐 · order 订单
#   authenticator 验证器 · code 验证码 · preview 预览 · rotate 轮换 · burned 已泄露 · destination 目标地址 · clipboard 剪贴板
#
# 写法：中文与西文、数字之间空一格；句末不加句号；命令、选项、变量名保留原文。

## 框架

error = 错误：{ $message }
error-of-field = 错误：{ $field }：{ $message }
hint = 提示：{ $step }
yes = 是
no = 否

## 下一步

hint-wait = 请等待 { $seconds } 秒后重试
hint-no-agent = 请运行 akm unlock；新机器请先运行 akm init
hint-unlock = 请运行 akm unlock
hint-init = 请运行 akm init
hint-credentials = 请检查账户、口令和验证码后重试
hint-list = 运行 akm ls 查看已有内容
hint-corrupt = 请运行 akm log verify，并检查你的备份
hint-version = 请使用写入该保险库的 akm 版本或更新的版本
hint-again = 请重试；如仍失败，运行 akm doctor
hint-doctor = 运行 akm doctor 查看 akm 使用的文件

## 会话：unlock、lock、status

ask-passphrase = 口令：
ask-code = 验证器上的验证码：
code-needed = 该账户还需要验证码
unlocked = { $account } 已解锁
unlocked-until = { $account } 已解锁，{ $time } 前有效
locked = 已锁定
no-account-yet = 尚无账户
field-state = 状态
field-agent = agent
field-vault = 保险库
field-code-asked = 需要验证码

## 密钥文件

keyfile-enabled = 从现在起，该账户只能与 { $path } 一起打开
keyfile-disabled = 从现在起，仅凭口令即可打开该账户
hint-keyfile-copy = 请另存一份该文件：没有它，只有恢复码能打开账户；旧的保险库副本在 akm vault rekey 之前仍无需它即可打开
hint-keyfile-stays = 文件保留原处：此前的备份仍需要它
field-keyfile-needed = 需要密钥文件
field-kept-in = 保存于

## 固定取值

status-active = 可用
status-disabled = 已停用
status-expired = 已过期
status-burned = 已泄露

## 服务商与模型

col-provider = 服务商
col-name = 名称
col-status = 状态
col-variable = 变量
col-test = 测试
col-models = 模型数
col-default-model = 默认模型
col-model = 模型
col-category = 用途
col-context = 上下文
col-price-in = 输入/百万
col-price-out = 输出/百万
col-currency = 币种
col-marks = 标记
test-free = 免费
test-costs = 可能耗费少量 token
test-proves-nothing = 无法证明
provider-active = 在用
provider-uncertain = 不确定
provider-retired = 已停用
category-chat = 对话
category-code = 代码
category-reasoning = 推理
category-vision = 视觉
category-long-context = 长上下文
category-economy = 经济
category-embedding = 向量
category-image = 图像
category-audio = 语音
category-rerank = 重排
category-search = 搜索
unknown = 未知
mark-default = 默认
mark-unlicensed = 仅 model-bank
mark-unverified = 未核实
mark-retires = { $date } 下线
no-models = 没有模型
models-as-of = 共 { $count } 个模型；价格按每百万 token 计，截至 { $date }
models-installed = 已安装 { $count } 个模型
models-reset = 已恢复内置模型目录
